//! ApiVersions (key 18) and what a connection survives: versions 0-4, any other answered as KIP-511 says.

use kafka_protocol::messages::ApiVersionsRequest;
use serde_json::json;

use super::{Scenario, shared};
use crate::{
    Outcome,
    context::Context,
    raw::{Answer, Connection, text},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("api_versions/versions", versions),
    shared("api_versions/unknown-versions", unknown_versions),
    shared("api_versions/software-names", software_names),
    shared("connection/frames", frames),
];

fn named(name: &str, version: &str) -> ApiVersionsRequest {
    ApiVersionsRequest::default().with_client_software_name(text(name)).with_client_software_version(text(version))
}

fn versions(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=4 {
        context.ask(format!("v{version}"), &mut connection, version, &named("compat", "1.0"))?;
    }
    Ok(())
}

fn unknown_versions(context: &mut Context<'_>) -> Outcome {
    for (step, version) in [("v5", 5), ("v99", 99), ("v-1", -1), ("max", i16::MAX)] {
        let mut connection = context.connect()?;
        // The body of a version that nobody knows may be anything.
        connection.send_body(18, version, 2, &[2, b'a', 2, b'1', 0])?;
        let frame = match connection.receive_frame()? {
            Answer::Response(frame, _) => json!(format!("{:?}", frame.get(4..).unwrap_or_default())),
            other => other.to_json(),
        };
        context.record(step, frame);
        context.ask(format!("{step}:connection-stays"), &mut connection, 0, &ApiVersionsRequest::default())?;
    }
    Ok(())
}

fn software_names(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    let names = ["", "-a", "a-", "a b", "apache-kafka-java", "a.b-c", "ä"];
    for (index, name) in names.into_iter().enumerate() {
        context.ask(format!("name:{index}"), &mut connection, 3, &named(name, "1"))?;
        context.ask(format!("version:{index}"), &mut connection, 4, &named("a", name))?;
    }
    Ok(())
}

type Send = Box<dyn Fn(&mut Connection) -> Outcome>;

/// What a broker makes of frames that are wrong before any handler sees them.
fn frames(context: &mut Context<'_>) -> Outcome {
    let long_count = [0x7f, 0xff, 0xff, 0xff];
    let cases: [(&str, Send); 11] = [
        ("length-negative", Box::new(|connection| connection.send_bytes(&[0xff, 0xff, 0xff, 0xff]))),
        ("length-zero", Box::new(|connection| connection.send_bytes(&[0, 0, 0, 0]))),
        ("length-above-the-limit", Box::new(|connection| connection.send_bytes(&[0x7f, 0xff, 0xff, 0xff, 0, 0]))),
        ("header-cut", Box::new(|connection| connection.send_frame(&[0, 18, 0]))),
        ("unknown-key", Box::new(|connection| connection.send_body(999, 0, 1, &[]))),
        ("negative-key", Box::new(|connection| connection.send_body(-1, 0, 1, &[]))),
        ("controller-key", Box::new(|connection| connection.send_body(52, 0, 2, &[0; 20]))),
        ("metadata-above-the-last-version", Box::new(|connection| connection.send_body(3, 14, 2, &[1, 0, 0, 0, 0]))),
        ("produce-v2", Box::new(|connection| connection.send_body(0, 2, 1, &[0, 1, 0, 0, 0, 10, 0, 0, 0, 0]))),
        ("body-cut", Box::new(|connection| connection.send_body(3, 1, 1, &[0, 0]))),
        ("count-above-the-frame", Box::new(move |connection| connection.send_body(3, 1, 1, &long_count))),
    ];
    for (step, send) in cases {
        let mut connection = context.connect()?;
        send(&mut connection)?;
        let answer = match connection.receive_frame()? {
            Answer::Response(frame, _) => json!(format!("{frame:?}")),
            other => other.to_json(),
        };
        context.record(step, answer);
    }
    let mut connection = context.connect()?;
    connection.send_body(18, 0, 1, b"bytes behind the body")?;
    let behind = connection.receive::<ApiVersionsRequest>(0)?.response().map(|response| response.error_code);
    context.record("bytes-behind-the-body", json!(behind));
    connection.send_body(18, 3, 2, &[2, b'a'])?;
    context.record("api-versions-body-cut", connection.receive_frame()?.to_json());
    Ok(())
}
