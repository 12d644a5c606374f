//! The arrows between crates (docs/ARCHITECTURE.md), held over `cargo metadata`: a lower layer never reaches up, and a
//! pure crate has no runtime, driver or system call to reach for.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// The layers, lowest first, by the directory of a crate's manifest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Layer {
    Pure,
    Shell,
    Api,
    App,
}

/// What touches the world: nothing in `pure/` may depend on it.
const WORLD: [&str; 11] = [
    "fuser",
    "hyper",
    "hyper-util",
    "libc",
    "nix",
    "rustls",
    "sqlx",
    "tokio",
    "tokio-postgres",
    "tokio-rustls",
    "tracing",
];

/// Arrows inside a layer; everything else in `pure/` knows `ids` alone, in `shell/` and `api/` nobody beside it.
const INSIDE: [(&str, &str); 7] = [
    // What a key is, is what its material is.
    ("kms", "envelope"),
    // Every API crate runs its operations on the one pipeline.
    ("api-iam", "front"),
    ("api-kms", "front"),
    ("api-rds", "front"),
    ("api-trail", "front"),
    ("engine", "archive"),
    ("engine", "attach"),
];

struct Workspace {
    layers: BTreeMap<String, Layer>,
    packages: Vec<Package>,
}

impl Workspace {
    fn read() -> Self {
        let metadata = MetadataCommand::new().no_deps().exec().expect("cargo knows the workspace");
        let root = metadata.workspace_root.clone();
        let mut layers = BTreeMap::new();
        for package in &metadata.packages {
            let place = package.manifest_path.strip_prefix(&root).expect("inside the workspace");
            let mut parts = place.components().map(|part| part.as_str());
            let layer = match (parts.next(), parts.next()) {
                (Some("crates"), Some("pure")) => Layer::Pure,
                (Some("crates"), Some("shell")) => Layer::Shell,
                (Some("crates"), Some("api")) => Layer::Api,
                // Tests and measurements stand above everything, as the binary does.
                (Some("crates"), Some("app" | "testkit")) | (Some("bench"), _) => Layer::App,
                _ => panic!("{place} has no layer: give it one here and in docs/ARCHITECTURE.md"),
            };
            layers.insert(package.name.to_string(), layer);
        }
        Self { layers, packages: metadata.packages }
    }

    /// Every dependency between crates of the workspace that is built into them.
    fn arrows(&self) -> impl Iterator<Item = (&str, &str)> {
        self.packages.iter().flat_map(|package| {
            let built_in = |kind: &DependencyKind| *kind != DependencyKind::Development;
            let inside = package.dependencies.iter().filter(move |dependency| built_in(&dependency.kind));
            inside
                .filter(|dependency| self.layers.contains_key(&dependency.name))
                .map(|dependency| (package.name.as_str(), dependency.name.as_str()))
        })
    }
}

#[test]
fn arrows_point_down_or_are_listed() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for (from, to) in workspace.arrows() {
        let (above, below) = (workspace.layers[from], workspace.layers[to]);
        let listed = INSIDE.contains(&(from, to)) || to == "ids" || (above == Layer::App && above == below);
        if above < below || (above == below && !listed) {
            wrong.push(format!("{from} -> {to}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn every_listed_arrow_is_there() {
    let workspace = Workspace::read();
    let arrows: BTreeSet<_> = workspace.arrows().collect();
    for arrow in INSIDE {
        assert!(arrows.contains(&arrow), "{arrow:?} is listed and not there");
    }
}

#[test]
fn pure_crates_cannot_touch_the_world() {
    let workspace = Workspace::read();
    let mut wrong = Vec::new();
    for package in &workspace.packages {
        if workspace.layers[package.name.as_str()] != Layer::Pure {
            continue;
        }
        for dependency in &package.dependencies {
            let built_in = dependency.kind != DependencyKind::Development;
            if built_in && WORLD.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn the_test_kit_is_built_into_nothing() {
    let workspace = Workspace::read();
    let wrong: Vec<_> = workspace.arrows().filter(|(_, to)| *to == "testkit").collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
