//! Which PostgreSQL versions are installed, and so on offer as `aurora-postgresql`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

/// Instance classes that may be asked for. They are labels: every instance has what the machine has to give.
pub const CLASSES: &[&str] = &[
    "db.r5.large",
    "db.r6g.large",
    "db.r6g.xlarge",
    "db.r6g.2xlarge",
    "db.r7g.large",
    "db.r7g.xlarge",
    "db.r7g.2xlarge",
    "db.t3.medium",
    "db.t3.large",
    "db.t4g.medium",
    "db.t4g.large",
];

/// An installed version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Engine {
    /// `16.6`
    pub version: String,
    pub bin_dir: PathBuf,
}

impl Engine {
    /// `16`
    pub fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }

    /// `aurora-postgresql16`
    pub fn family(&self) -> String {
        format!("{}{}", crate::records::Cluster::ENGINE, self.major())
    }

    fn order(&self) -> Vec<u32> {
        self.version.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    }
}

/// Asks each installation for its version; those that do not answer are left out, with a warning. Oldest first.
pub async fn discover(bin_dirs: &[PathBuf]) -> Vec<Engine> {
    let mut found = Vec::new();
    for bin_dir in bin_dirs {
        match version(bin_dir).await {
            Some(version) => found.push(Engine { version, bin_dir: bin_dir.clone() }),
            None => tracing::warn!(bin_dir = %bin_dir.display(), "no PostgreSQL answers here"),
        }
    }
    found.sort_by_key(Engine::order);
    found.dedup_by(|a, b| a.version == b.version);
    found
}

async fn version(bin_dir: &Path) -> Option<String> {
    let output = Command::new(bin_dir.join("postgres")).arg("--version").output().await.ok()?;
    parse(std::str::from_utf8(&output.stdout).ok()?)
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)` → `15.14`
fn parse(text: &str) -> Option<String> {
    let version = text.split("(PostgreSQL)").nth(1)?.split_whitespace().next()?;
    let plain = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
    (plain && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_that_postgres_prints() {
        assert_eq!(parse("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n").as_deref(), Some("15.14"));
        assert_eq!(parse("postgres (PostgreSQL) 18.0").as_deref(), Some("18.0"));
        for other in ["", "postgres", "postgres (PostgreSQL) 19devel", "(PostgreSQL) 1;2"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_directory_without_postgres_is_left_out() {
        assert!(discover(&["/nonexistent".into()]).await.is_empty());
    }
}
