//! `strongroom volume status`: volumes as their files, their instances and the anchors show them.
#![allow(clippy::print_stdout, reason = "the volumes are the command's output")]

use std::fmt::Write as _;

use clap::Args;
use engine::{Sighting, VolumeFiles};
use ids::Timestamp;
use serde_json::{Value, json};
use volume::Anchor;

use super::{
    named::{self, Named},
    renew_key,
};
use crate::{
    cli::{Failure, HomeOption, read_config, runtime},
    home::Home,
};

/// Show the volumes of clusters: size, space, anchor, what is damaged.
#[derive(Args, Debug)]
pub struct Status {
    /// The cluster: its identifier, ARN or resource id, or the id of its volume [default: all]
    cluster: Option<String>,
    #[command(flatten)]
    home: HomeOption,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        read_config(&home)?;
        let clusters = match &self.cluster {
            None => runtime()?.block_on(named::all(&home.state()))?,
            Some(name) => vec![runtime()?.block_on(named::one(&home.state(), name))?],
        };
        let shown = clusters.iter().map(|cluster| Shown::of(&home, cluster));
        let shown = shown.collect::<Result<Vec<_>, _>>()?;
        if self.json {
            println!("{:#}", shown.iter().map(Shown::as_json).collect::<Value>());
        } else {
            print!("{}", shown.iter().map(Shown::as_text).collect::<Vec<_>>().join("\n"));
        }
        Ok(())
    }
}

/// The process of an instance, if there is one.
///
/// # Errors
/// If it cannot be looked at.
pub fn sight(home: &Home, instance: &str) -> Result<Option<Sighting>, Failure> {
    let Ok(id) = instance.parse() else { return Ok(None) };
    Ok(engine::sight(home.path(), &id)?)
}

/// A volume and what is known of it.
struct Shown<'a> {
    cluster: &'a Named,
    files: Option<VolumeFiles>,
    /// The instance that has it open.
    open: Option<(&'a str, Sighting)>,
    anchor: Option<(Anchor, Timestamp)>,
    /// How far the renewal of the key is, if one is under way.
    renewed: Option<u8>,
}

impl<'a> Shown<'a> {
    fn of(home: &Home, cluster: &'a Named) -> Result<Self, Failure> {
        let volume = cluster.record.volume.as_deref().and_then(|id| id.parse().ok());
        let files = volume.map(|volume| engine::volume_files(home.path(), &volume)).transpose()?.flatten();
        let mut open = None;
        for instance in &cluster.instances {
            let sighting = sight(home, &instance.id)?;
            let sighting = sighting.filter(|sighting| sighting.open.anchor.is_some());
            open = open.or(sighting.map(|sighting| (instance.identifier.as_str(), sighting)));
        }
        let anchor = cluster.anchor.as_ref();
        let anchor = anchor.map(|(bytes, at)| Ok::<_, Failure>((Anchor::from_bytes(bytes)?, *at)));
        let anchor = anchor.transpose()?.map(|(anchor, at)| (anchor, Timestamp::from_millis(at)));
        let renewed = renew_key::percent(home, cluster)?;
        Ok(Self { cluster, files, open, anchor, renewed })
    }

    fn as_json(&self) -> Value {
        let files = self.files.as_ref().map(|files| {
            json!({"sizeBytes": files.size, "storedBytes": files.stored, "keyGenerations": files.generations})
        });
        let open = self.open.as_ref().map(|(instance, sighting)| {
            json!({
                "instance": instance, "full": sighting.open.full, "damage": sighting.open.damage,
                "counters": sighting.open.counters,
            })
        });
        let anchor = self.anchor.as_ref().map(|(anchor, at)| {
            json!({"epoch": anchor.epoch, "sequence": anchor.sequence, "kept": at.iso8601_seconds()})
        });
        let record = &self.cluster.record;
        json!({
            "cluster": record.identifier, "status": record.status, "volume": record.volume, "files": files,
            "open": open, "anchor": anchor, "keyRenewedPercent": self.renewed,
        })
    }

    fn as_text(&self) -> String {
        let record = &self.cluster.record;
        let mut text = format!(
            "{}  {}  {}\n",
            record.identifier,
            record.volume.as_deref().unwrap_or_default(),
            record.status
        );
        let mut line = |name: &str, value: String| {
            writeln!(text, "  {name:<10}{value}").expect("a string takes all");
        };
        match &self.files {
            None => line("files", "none".into()),
            Some(files) => {
                line("size", bytes(files.size));
                line("stored", bytes(files.stored));
                let generations: Vec<_> = files.generations.iter().map(u32::to_string).collect();
                line("keys", format!("generation {}", generations.join(", ")));
            }
        }
        if let Some(percent) = self.renewed {
            line("renewal", format!("of the key, {percent} % sealed under the new one"));
        }
        match &self.anchor {
            None => line("anchor", "none".into()),
            Some((anchor, at)) => line(
                "anchor",
                format!("group {}, epoch {}, {}", anchor.sequence, anchor.epoch, at.iso8601_seconds()),
            ),
        }
        if let Some((instance, sighting)) = &self.open {
            let counters = &sighting.open.counters;
            line("open", format!("by {instance}, group {}", counters.sequence));
            line("live", bytes(counters.live));
            line("pending", bytes(counters.pending));
            line("space", if sighting.open.full { "full".into() } else { "enough".into() });
            for found in &sighting.open.damage {
                line("damage", found.clone());
            }
        }
        text
    }
}

/// A size as people read it.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let unit = (count.ilog2() as usize / 10 - 1).min(UNITS.len() - 1);
    let whole = 1_u64 << (10 * (unit + 1));
    format!("{}.{} {}", count / whole, count % whole * 10 / whole, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_in_their_largest_unit() {
        let shown = [0, 1023, 1024, 1536 << 10, 64 << 30, 3 << 60].map(bytes);
        assert_eq!(shown, ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "64.0 GiB", "3072.0 PiB"]);
    }
}
