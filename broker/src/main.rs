//! The `milena` binary: `cli` reads the command line and does what it says.

fn main() -> std::process::ExitCode {
    milena::cli::run(std::env::args_os(), std::env::vars_os())
}
