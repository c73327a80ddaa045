//! Debian's kcat, on librdkafka 2.0.2.

use std::process::Command;

use super::{Scenario, alone};
use crate::{Outcome, context::Context};

pub(crate) const SCENARIOS: &[Scenario] = &[alone("kcat/produce-and-consume", &[], produce_and_consume)];

fn kcat(context: &Context<'_>, words: &str) -> Command {
    let mut command = Command::new("kcat");
    command.args(["-b", &context.cluster.bootstrap()]).args(words.split(' '));
    command
}

fn produce_and_consume(context: &mut Context<'_>) -> Outcome {
    context.create_topic("kcat", 3, &[])?;
    let lines = (0..50).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("kcat-{codec}");
        context.create_topic(&topic, 1, &[])?;
        let mut produce = kcat(context, &format!("-P -t {topic} -z {codec} -H one=1 -H two=2"));
        context.program(&format!("produce:{codec}"), &mut produce, &lines)?;
        let mut consume = kcat(context, &format!("-C -t {topic} -o beginning -e -q"));
        consume.args(["-f", "%p %o %k %s %h\n"]);
        context.program(&format!("consume:{codec}"), &mut consume, "")?;
    }
    for acks in ["0", "1", "all"] {
        let mut produce = kcat(context, &format!("-P -t kcat -p 1 -X acks={acks} -K :"));
        context.program(&format!("produce-keyed:{acks}"), &mut produce, &format!("key-{acks}:value-{acks}\n"))?;
    }
    let mut produce = kcat(context, "-P -t kcat -p 2 -X enable.idempotence=true");
    context.program("produce-idempotent", &mut produce, &lines)?;
    for partition in 0..3 {
        let mut consume = kcat(context, &format!("-C -t kcat -p {partition} -o beginning -e -q -K ="));
        context.program(&format!("consume-partition:{partition}"), &mut consume, "")?;
    }
    let mut tail = kcat(context, "-C -t kcat -p 2 -o -3 -e -q");
    context.program("the-last-three", &mut tail, "")?;
    for time in ["-1", "-2", "1"] {
        let mut query = kcat(context, &format!("-Q -t kcat:2:{time}"));
        context.program(&format!("query:{time}"), &mut query, "")?;
    }
    let mut list = kcat(context, "-L -t kcat");
    context.program("list", &mut list, "")?;
    // A topic that is made by the first record.
    let mut produce = kcat(context, "-P -t kcat-made-by-use");
    context.program("produce-to-a-new-topic", &mut produce, "first\n")?;
    let mut consume = kcat(context, "-C -t kcat-made-by-use -o beginning -e -q");
    context.program("consume-from-the-new-topic", &mut consume, "")?;
    Ok(())
}
