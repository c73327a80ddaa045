//! Running other programs: each command is printed before it runs, its output is shown while it
//! runs, and kept where somebody wants to count in it.

use std::{
    error::Error,
    fmt,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What every task returns: the message is printed once, by `main`.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A program ended with something other than success.
#[derive(Debug)]
pub(crate) struct Failed {
    what: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed: {}", self.what)
    }
}

impl Error for Failed {}

/// The root of the workspace, wherever the task is started from.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the workspace").to_path_buf()
}

/// `cargo`, the one that runs this task, in the root of the workspace.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace());
    command
}

/// Runs `command` with its output on ours.
pub(crate) fn run(command: &mut Command) -> Outcome {
    say(&describe(command));
    if command.status()?.success() {
        return Ok(());
    }
    Err(Box::new(Failed { what: describe(command) }))
}

/// Runs `command`, hands every line of its standard output to `on_line` and prints it. Says whether it succeeded.
pub(crate) fn run_reading(command: &mut Command, mut on_line: impl FnMut(&str)) -> Outcome<bool> {
    say(&describe(command));
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe to the child")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        print_line(&line);
        on_line(&line);
    }
    Ok(child.wait()?.success())
}

/// The standard output of `command`, or none if it cannot be run or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether a program of this name is in `PATH`.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).any(|dir| dir.join(program).is_file())
    })
}

/// One line about what the task is doing.
pub(crate) fn say(text: &str) {
    print_line(&format!("==> {text}"));
}

#[expect(clippy::print_stdout, reason = "the output of a task is its standard output")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}

fn describe(command: &Command) -> String {
    let mut text = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
