//! `strongroom volume check`: reads everything that a volume or snapshot holds, and tells what is not as it was written.
#![allow(clippy::print_stdout, reason = "what is found is the command's output")]

use std::ops::ControlFlow;

use attach::{Observed, VolumeError};
use clap::Args;
use clusters::VolumeId;
use serde_json::json;

use super::{
    COULD_NOT, FOUND, Output,
    report::{Gauge, as_json, as_line, bytes},
    sealed::{Named, Sealed},
};
use crate::cli::{Failure, HomeOption};

/// Read and open everything in a volume, and tell what is not as it was written. A volume that is in use is checked by
/// the instance that has it open, beside its work.
///
/// Exit status: 0 nothing is damaged, 1 something is, 2 it could not be checked.
#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    volume: Named,
    #[command(flatten)]
    home: HomeOption,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Check {
    pub fn run(self) -> Result<(), Failure> {
        let sealed = self.volume.find(&self.home).map_err(Failure::could_not)?;
        let damage = self.check(&sealed).map_err(Failure::could_not)?;
        match damage {
            0 => Ok(()),
            1 => Err(Failure { text: "one place is damaged".into(), status: FOUND }),
            more => Err(Failure { text: format!("{more} places are damaged"), status: FOUND }),
        }
    }

    /// Says how many places are damaged.
    fn check(&self, sealed: &Sealed) -> Result<u64, Failure> {
        let text = self.output == Output::Text;
        if text {
            println!("{} in {}", sealed.id, sealed.dir.display());
        }
        let mut gauge = Gauge::new();
        let mut findings = Vec::new();
        let mut observe = |observed: Observed<'_>| {
            match observed {
                Observed::Step(progress) => gauge.show(progress),
                Observed::Found(finding) if text => {
                    gauge.clear();
                    println!("{}", as_line(finding));
                }
                Observed::Found(finding) => findings.push(as_json(finding)),
            }
            ControlFlow::Continue(())
        };
        let instances = self.home.home().path().join("instances");
        let id: VolumeId = sealed.id.parse()?;
        let scrubbed = match sealed.may_be_open() {
            true => engine::scrub_open(&instances, &id, &mut observe)?,
            false => None,
        };
        let open = scrubbed.is_some();
        let (progress, _) = match scrubbed {
            Some(scrubbed) => scrubbed,
            None => match attach::check(
                &sealed.dir,
                &sealed.id,
                sealed.open_keys()?,
                sealed.anchor.as_ref(),
                &mut observe,
            ) {
                Err(VolumeError::InUse) => {
                    let text = "the volume is being opened or closed: try again".into();
                    return Err(Failure { text, status: COULD_NOT });
                }
                checked => checked?,
            },
        };
        gauge.clear();
        let leftovers = progress.findings - progress.damage;
        if text {
            let read = bytes(progress.bytes);
            let how = if open { ", in use" } else { "" };
            println!("{} blocks and {} nodes, {read}{how}", progress.blocks, progress.nodes);
            println!("{} damaged, {leftovers} left over", progress.damage);
        } else {
            let report = json!({
                "volume": sealed.id, "directory": sealed.dir, "inUse": open, "blocks": progress.blocks,
                "nodes": progress.nodes, "bytes": progress.bytes, "damage": progress.damage, "findings": findings,
            });
            println!("{report:#}");
        }
        Ok(progress.damage)
    }
}
