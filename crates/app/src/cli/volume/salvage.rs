//! `strongroom volume salvage`: what is authentic of a damaged volume, in a new one, and a report of what is not.
#![allow(clippy::print_stdout, reason = "what is missing is the command's output")]

use std::{
    fs,
    ops::{ControlFlow, Range},
    path::PathBuf,
};

use attach::{LogEnd, Observed, Salvaged, VolumeError};
use clap::Args;
use serde_json::{Value, json};

use super::{
    COULD_NOT, FOUND, Output,
    report::{Gauge, as_json, as_line},
    sealed::Named,
};
use crate::{
    cli::{Failure, HomeOption},
    home::write_private,
};

/// Copy what is authentic of a damaged volume or snapshot into a new sealed volume of the same id and key, and tell what
/// is missing and what may be old. Nobody may have the volume open; it is not changed.
///
/// Exit status: 0 nothing is missing, 1 something is, 2 nothing could be saved.
#[derive(Args, Debug)]
pub struct Salvage {
    #[command(flatten)]
    volume: Named,
    #[command(flatten)]
    home: HomeOption,
    /// Directory of the new volume, which is not there yet.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// Where the report goes, as JSON [default: <DIR>.report.json]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
}

impl Salvage {
    pub fn run(self) -> Result<(), Failure> {
        let (salvaged, report) = self.salvage().map_err(Failure::could_not)?;
        match self.output {
            Output::Json => println!("{report:#}"),
            Output::Text => print!("{}", as_text(&salvaged)),
        }
        if salvaged.is_whole() {
            return Ok(());
        }
        Err(Failure {
            text: "not everything could be saved, or proven to be the newest".into(),
            status: FOUND,
        })
    }

    fn salvage(&self) -> Result<(Salvaged, Value), Failure> {
        let sealed = self.volume.find(&self.home)?;
        let into = std::path::absolute(&self.into)?;
        if fs::exists(&into)? {
            return Err(Failure::usage(format!("{} is there already", into.display())));
        }
        let keys = sealed.open_keys()?;
        let mut gauge = Gauge::new();
        let mut findings = Vec::new();
        let mut observe = |observed: Observed<'_>| {
            match observed {
                Observed::Step(progress) => gauge.show(progress),
                Observed::Found(finding) => {
                    if self.output == Output::Text {
                        gauge.clear();
                        println!("{}", as_line(finding));
                    }
                    findings.push(as_json(finding));
                }
            }
            ControlFlow::Continue(())
        };
        let anchor = sealed.anchor.as_ref();
        let salvaged = match attach::salvage(&sealed.dir, &sealed.id, keys, anchor, &into, &mut observe) {
            Err(VolumeError::InUse) => {
                let text = "the volume is in use: stop its cluster first".into();
                return Err(Failure { text, status: COULD_NOT });
            }
            salvaged => salvaged?,
        };
        gauge.clear();
        let mut report = as_report(&salvaged);
        report["volume"] = json!(sealed.id);
        report["directory"] = json!(sealed.dir);
        report["into"] = json!(into);
        report["findings"] = Value::Array(findings);
        let path = self.report.clone().unwrap_or_else(|| {
            let mut name = into.clone().into_os_string();
            name.push(".report.json");
            name.into()
        });
        write_private(&path, format!("{report:#}\n").as_bytes())?;
        Ok((salvaged, report))
    }
}

/// Ranges of blocks of 8192 bytes: the first, and how many.
fn ranges(ranges: &[Range<u64>]) -> Value {
    let each =
        ranges.iter().map(|range| json!({"firstBlock": range.start, "blocks": range.end - range.start}));
    Value::Array(each.collect())
}

fn end(end: LogEnd) -> &'static str {
    match end {
        LogEnd::Reached => "reached",
        LogEnd::Missing => "missing",
        LogEnd::NotStated => "not stated",
    }
}

fn as_report(salvaged: &Salvaged) -> Value {
    let groups = salvaged.missing_groups.iter().map(|gap| json!({"first": gap.start(), "last": gap.end()}));
    json!({
        "whole": salvaged.is_whole(), "blocksCopied": salvaged.copied, "missing": ranges(&salvaged.missing),
        "unknown": ranges(&salvaged.unknown), "perhapsOld": ranges(&salvaged.maybe_old),
        "missingGroups": groups.collect::<Vec<_>>(), "endOfLog": end(salvaged.end),
    })
}

fn as_text(salvaged: &Salvaged) -> String {
    let count = |ranges: &[Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    let gaps = salvaged.missing_groups.len();
    let mut text = format!(
        "{} blocks copied\n{} missing\n{} unknown: they may have held data\n{} perhaps old\n",
        salvaged.copied,
        count(&salvaged.missing),
        count(&salvaged.unknown),
        count(&salvaged.maybe_old),
    );
    if gaps > 0 {
        text.push_str("groups of the log are missing: what they wrote or discarded is not known\n");
    }
    text.push_str(match salvaged.end {
        LogEnd::Reached => "the log reaches its end\n",
        LogEnd::Missing => "the end of the log is missing\n",
        LogEnd::NotStated => "the volume was not closed: whether its log was cut short cannot be told\n",
    });
    text
}
