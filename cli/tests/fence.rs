//! The dependency fence: who may depend on whom, read from `cargo metadata`.
//!
//! Dev-dependencies count only where a rule says so: a test may look at Redis or speak HTTP as a stranger would.

use std::collections::{BTreeSet, HashMap, HashSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Every member of the workspace and the members it may build on. A new one must be entered here, by decision.
const LAYERS: &[(&str, &[&str])] = &[
    ("tempest-protocol", &[]),
    ("tempest-protocol-fuzz", &["tempest-protocol"]),
    ("tempest-broker", &["tempest-protocol"]),
    ("tempest-front", &["tempest-protocol", "tempest-broker"]),
    ("tempest-worker", &["tempest-protocol", "tempest-broker"]),
    ("tempest-supervisor", &["tempest-protocol", "tempest-broker"]),
    (
        "tempest",
        &["tempest-protocol", "tempest-broker", "tempest-front", "tempest-worker", "tempest-supervisor"],
    ),
    ("tempest-example-hello", &["tempest-worker"]),
    ("tempest-example-traces", &["tempest-worker"]),
    ("tempest-example-jobs", &["tempest-worker"]),
    ("tempest-example-embed", &["tempest-broker", "tempest-front"]),
    ("tempest-bench", &["tempest-protocol", "tempest-broker", "tempest-front", "tempest-worker"]),
    // Judges servers from outside.
    ("tempest-bench-audience", &[]),
    ("tempest-chaos-worker", &["tempest-worker"]),
];

/// What only one member may name, besides the listed examples of its use and what is measured against it.
const OWNERS: &[(&str, &str, &[&str])] = &[
    ("redis", "tempest-broker", &[]),
    ("axum", "tempest-front", &["tempest-example-embed", "tempest-bench"]),
    ("hyper", "tempest-front", &[]),
];

/// What the wire must do without: a runtime, a network, a Redis.
const NOT_IN_PROTOCOL: &[&str] = &["tokio", "mio", "async-std", "smol", "redis", "socket2"];

fn metadata() -> Metadata {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(vec!["--locked".into()])
        .exec()
        .expect("cargo metadata reads the workspace")
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    let members = metadata.workspace_packages();
    members.into_iter().find(|package| package.name.as_str() == name).unwrap_or_else(|| {
        panic!("the workspace has no member {name}: was it renamed without its row in the fence?")
    })
}

/// The names a member depends on for building, tests apart.
fn direct(package: &Package) -> BTreeSet<&str> {
    let counted =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    counted.map(|dependency| dependency.name.as_str()).collect()
}

/// Every package that is built when `root` is, itself included.
fn tree<'a>(metadata: &'a Metadata, root: &'a PackageId) -> HashSet<&'a str> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut seen, mut open) = (HashSet::new(), vec![root]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let built = nodes[id]
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development));
            open.extend(built.map(|dep| &dep.pkg));
        }
    }
    seen.into_iter().map(|id| metadata[id].name.as_str()).collect()
}

#[test]
fn members_build_only_on_the_layers_below_them() {
    let metadata = metadata();
    let members: BTreeSet<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        let row = LAYERS.iter().find(|(member, _)| *member == name);
        let (_, allowed) =
            row.unwrap_or_else(|| panic!("{name} is new: enter it in LAYERS with what it may build on"));
        for dependency in direct(package).into_iter().filter(|dependency| members.contains(*dependency)) {
            assert!(
                allowed.contains(&dependency),
                "{name} depends on {dependency}, which lies above or beside it"
            );
        }
    }
}

#[test]
fn each_fenced_dependency_has_one_owner() {
    let metadata = metadata();
    for (dependency, owner, examples) in OWNERS {
        assert!(
            direct(member(&metadata, owner)).contains(dependency),
            "{owner} no longer depends on {dependency}: the fence guards nothing, change its row"
        );
        for package in metadata.workspace_packages() {
            let name = package.name.as_str();
            if name != *owner && !examples.contains(&name) {
                assert!(
                    !direct(package).contains(dependency),
                    "{name} depends on {dependency}: go through {owner}"
                );
            }
        }
    }
}

#[test]
fn the_wire_is_pure() {
    let metadata = metadata();
    let tree = tree(&metadata, &member(&metadata, "tempest-protocol").id);
    assert!(tree.contains("serde_json"), "the tree of tempest-protocol was not read: {tree:?}");
    for name in NOT_IN_PROTOCOL {
        assert!(!tree.contains(name), "{name} is in the tree of tempest-protocol");
    }
}

#[test]
fn front_and_worker_never_meet() {
    let metadata = metadata();
    for (one, other) in [("tempest-front", "tempest-worker"), ("tempest-worker", "tempest-front")] {
        let package = member(&metadata, one);
        assert!(!tree(&metadata, &package.id).contains(other), "{one} is built with {other}");
        let in_tests = package.dependencies.iter().any(|dependency| dependency.name == other);
        assert!(!in_tests, "{one} names {other}, if only for its tests: such a test belongs to tempest");
    }
}
