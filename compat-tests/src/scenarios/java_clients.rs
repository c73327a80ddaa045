//! The Java clients 2.8.2, 3.9.1 and 4.3.1: the same program against each.

use std::process::Command;

use super::{Scenario, shared};
use crate::{
    Outcome,
    context::Context,
    java::{SHORT_LIVED_JVM, compile},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("java_clients/2.8.2", |context| run(context, "2.8.2")),
    shared("java_clients/3.9.1", |context| run(context, "3.9.1")),
    shared("java_clients/4.3.1", |context| run(context, "4.3.1")),
];

fn run(context: &mut Context<'_>, version: &str) -> Outcome {
    let jars = context.tools.client_class_path(version);
    let classes = tempfile::tempdir()?;
    compile("JavaClient", &jars, classes.path())?;
    let mut java = Command::new("java");
    java.args(SHORT_LIVED_JVM).args(["-cp", &format!("{}:{jars}", classes.path().display()), "JavaClient"]);
    java.args([context.cluster.bootstrap(), format!("java-{}", version.replace('.', "-"))]);
    context.program("printed", &mut java, "")?;
    Ok(())
}
