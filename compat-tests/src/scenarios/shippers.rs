//! Log and metric shippers that know nothing of Milena: Debian's rsyslog and Telegraf.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use super::{Scenario, rdkafka_client::consume, shared};
use crate::{Outcome, cluster::free_port, context::Context};

pub(crate) const SCENARIOS: &[Scenario] = &[shared("shippers/rsyslog", rsyslog), shared("shippers/telegraf", telegraf)];

/// A daemon that ends with the scenario.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that is gone needs no end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const MESSAGES: usize = 20;

fn rsyslog(context: &mut Context<'_>) -> Outcome {
    let dir = context.cluster.scratch_dir().to_path_buf();
    let port = free_port()?;
    let config = dir.join("rsyslog.conf");
    fs::write(
        &config,
        format!(
            "global(workDirectory=\"{dir}\")\n\
             module(load=\"imtcp\")\n\
             module(load=\"omkafka\")\n\
             template(name=\"message\" type=\"string\" string=\"%hostname% %syslogtag%%msg%\")\n\
             input(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")\n\
             action(type=\"omkafka\" broker=[\"{broker}\"] topic=\"syslog\" key=\"k1\" partitions.auto=\"on\" template=\"message\"\n\
             \x20 confParam=[\"compression.codec=lz4\",\"acks=all\"] resubmitOnFailure=\"on\" keepFailedMessages=\"on\"\n\
             \x20 failedMsgFile=\"{dir}/failed\")\n",
            dir = dir.display(),
            broker = context.cluster.bootstrap()
        ),
    )?;
    let mut command = Command::new("rsyslogd");
    if !std::path::Path::new("/usr/sbin/rsyslogd").exists() {
        return Err("rsyslogd is not installed".into());
    }
    command.arg("-n").arg("-f").arg(&config).arg("-i").arg(dir.join("rsyslog.pid"));
    let _daemon = Daemon(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let mut stream = context.until("rsyslog listens", |_| Ok(TcpStream::connect(("127.0.0.1", port)).ok()))?;
    for number in 0..MESSAGES {
        writeln!(stream, "<13>Oct 11 22:14:15 somehost app: message {number}")?;
    }
    stream.flush()?;
    let bootstrap = context.cluster.bootstrap();
    let seen = consume(&bootstrap, "syslog", MESSAGES)?;
    context.record("read-back", seen);
    Ok(())
}

fn telegraf(context: &mut Context<'_>) -> Outcome {
    run_telegraf(context, "as-it-comes", "telegraf", "")
}

/// Some metrics through Telegraf into a topic, with more settings of its `outputs.kafka`; read back by librdkafka.
pub(crate) fn run_telegraf(context: &mut Context<'_>, step: &str, topic: &str, more: &str) -> Outcome {
    let dir = context.cluster.scratch_dir().to_path_buf();
    let metrics: Vec<String> = (0..MESSAGES)
        .map(|number| format!("cpu,core=c{number} value={number}i 17000000000{number:02}000000"))
        .collect();
    fs::write(dir.join("metrics"), metrics.join("\n") + "\n")?;
    let config = dir.join("telegraf.conf");
    fs::write(
        &config,
        format!(
            "[agent]\n  omit_hostname = true\n\
             [[inputs.file]]\n  files = [\"{}\"]\n  data_format = \"influx\"\n\
             [[outputs.kafka]]\n  brokers = [\"{}\"]\n  topic = \"{topic}\"\n  {more}\n",
            dir.join("metrics").display(),
            context.cluster.bootstrap()
        ),
    )?;
    let mut command = Command::new(context.tools.dir.join("telegraf/bin/telegraf"));
    command.arg("--config").arg(&config).arg("--once");
    context.program(step, &mut command, "")?;
    let bootstrap = context.cluster.bootstrap();
    let seen = consume(&bootstrap, topic, MESSAGES)?;
    context.record(format!("{step}:read-back"), seen);
    Ok(())
}
