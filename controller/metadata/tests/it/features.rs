//! Feature levels. The texts are those of a running Kafka 4.3.1.

use kafka_protocol::messages::UpdateFeaturesRequest;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use milena_metadata::{Operation, Record, Response};

use crate::support::{Cluster, text};

const ELR: &str = "eligible.leader.replicas.version";

fn update(cluster: &mut Cluster, version: i16, updates: &[(&str, i16, i8)]) -> (i16, Option<String>, usize) {
    let update = |(name, level, upgrade_type): &(&str, i16, i8)| {
        FeatureUpdateKey::default()
            .with_feature(text(name))
            .with_max_version_level(*level)
            .with_upgrade_type(*upgrade_type)
    };
    let request = UpdateFeaturesRequest::default()
        .with_timeout_ms(1000)
        .with_feature_updates(updates.iter().map(update).collect());
    match cluster.run(Operation::UpdateFeatures { version, request }).response {
        Response::UpdateFeatures(response) => {
            let fits = |row: &UpdatableFeatureResult| row.error_message.as_deref() == Some("NONE");
            assert!(response.results.iter().all(fits));
            (response.error_code, response.error_message.map(|text| text.to_string()), response.results.len())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_all_updates_for_one_that_cannot_be_made() {
    let check = |wanted: (&str, i16, i8), reason: &str| {
        let mut cluster = Cluster::with_brokers(1);
        let before = cluster.image.features.clone();
        let message = format!("The update failed for all features since the following feature had an error: {reason}");
        let updates = [(ELR, 0, 2), wanted];
        assert_eq!(update(&mut cluster, 1, &updates), (95, Some(message), 0));
        assert_eq!(cluster.image.features, before);
    };
    let invalid = |name: &str, level: i16, upgrade_type: i8, reason: &str| {
        check((name, level, upgrade_type), &format!("Invalid update version {level} for feature {name}. {reason}"));
    };
    let mv = "metadata.version";
    invalid("nope", 1, 1, "Local controller 1 does not support this feature.");
    invalid(mv, 99, 1, "Local controller 1 only supports versions 7-30");
    invalid(mv, 0, 3, "Local controller 1 only supports versions 7-30");
    let without = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                   unsafe downgrade.";
    invalid(mv, 29, 1, without);
    invalid(ELR, 0, 1, without);
    invalid(ELR, -1, 2, "A feature version cannot be less than 0.");
    invalid(ELR, 1, 7, "The controller does not support the given upgrade type.");
    let unsupported = "Unsupported metadata.version downgrade from 30 to 29.";
    let lossy = "Refusing to perform the requested downgrade because it might delete metadata information.";
    check((mv, 29, 2), &format!("{unsupported} {lossy}"));
    check((mv, 29, 3), &format!("{unsupported} Unsafe metadata downgrade is not supported in this version."));
}

#[test]
fn the_present_level_is_fine_and_answered_by_version() {
    let mut cluster = Cluster::with_brokers(1);
    let present = [("metadata.version", 30, 1), (ELR, 1, 2), ("kraft.version", 1, 1)];
    assert_eq!(update(&mut cluster, 1, &present), (0, None, 3));
    assert_eq!(update(&mut cluster, 2, &present), (0, None, 0));
    assert_eq!(update(&mut cluster, 2, &[]), (0, None, 0));
}

#[test]
fn eligible_leader_replicas_bring_a_cluster_wide_min_insync_replicas() {
    let mut cluster = Cluster::with_brokers(1);
    assert_eq!(update(&mut cluster, 1, &[(ELR, 0, 2)]).0, 0);
    assert!(!cluster.image.features.elr_enabled());
    let removed = milena_metadata::record::ConfigRecord {
        resource_type: 4,
        resource_name: "".into(),
        name: "min.insync.replicas".into(),
        value: None,
    };
    cluster.apply(&[Record::Config(removed)]);
    assert_eq!(update(&mut cluster, 1, &[(ELR, 1, 1)]).0, 0);
    assert_eq!(&*cluster.image.configs.default_broker()["min.insync.replicas"], "1");
}
