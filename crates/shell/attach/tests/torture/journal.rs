//! What was asked of a volume and what it answered, one line each, in a file outside of the store. A line is written
//! by one call, so that no kill tears it.
//!
//! Every write and discard has a version, in the order in which they begin; of those that touch the same sector one
//! ends before the next begins. A *base* is the last version up to which all are answered.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    ops::Range,
    path::Path,
};

use attach::Anchor;

#[derive(Clone, Debug)]
pub enum Line {
    /// A round begins, with this version.
    Begun { next: u64 },
    /// A change of some sectors begins, when all up to `base` are answered.
    Change { version: u64, base: u64, sectors: Range<u64>, discard: bool },
    /// It was refused: it may have happened, or not.
    Refused { version: u64 },
    /// A flush was answered that began when all up to `base` were answered.
    Durable { base: u64 },
    /// The making of a snapshot begins.
    Snapshot { name: String, base: u64 },
    /// It is made.
    Snapped { name: String },
    /// An anchor was taken.
    Anchored { anchor: Anchor },
}

pub struct Journal(File);

impl Journal {
    pub fn open(path: &Path) -> Self {
        Self(OpenOptions::new().append(true).create(true).open(path).expect("outside of the store"))
    }

    pub fn tell(&self, line: &Line) {
        let text = match line {
            Line::Begun { next } => format!("begun {next}\n"),
            Line::Change { version, base, sectors, discard } => {
                let what = if *discard { "discard" } else { "write" };
                format!("{what} {version} {base} {} {}\n", sectors.start, sectors.end)
            }
            Line::Refused { version } => format!("refused {version}\n"),
            Line::Durable { base } => format!("durable {base}\n"),
            Line::Snapshot { name, base } => format!("snapshot {name} {base}\n"),
            Line::Snapped { name } => format!("snapped {name}\n"),
            Line::Anchored { anchor } => {
                let hex: String = anchor.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("anchored {hex}\n")
            }
        };
        (&self.0).write_all(text.as_bytes()).expect("outside of the store");
    }
}

pub fn read(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Line {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match words.as_slice() {
        [what @ ("write" | "discard"), version, base, start, end] => Line::Change {
            version: number(version),
            base: number(base),
            sectors: number(start)..number(end),
            discard: *what == "discard",
        },
        ["begun", next] => Line::Begun { next: number(next) },
        ["refused", version] => Line::Refused { version: number(version) },
        ["durable", base] => Line::Durable { base: number(base) },
        ["snapshot", name, base] => Line::Snapshot { name: (*name).into(), base: number(base) },
        ["snapped", name] => Line::Snapped { name: (*name).into() },
        ["anchored", hex] => {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            Line::Anchored { anchor: Anchor::from_bytes(&bytes).expect("as it was written") }
        }
        other => panic!("no line of a journal: {other:?}"),
    }
}
