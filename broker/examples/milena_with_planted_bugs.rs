//! The broker as the tests of the tests start it: `MILENA_PLANTED_BUG` names the bug that it has.

fn main() -> std::process::ExitCode {
    milena::cli::run(std::env::args_os(), std::env::vars_os())
}
