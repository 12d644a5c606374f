//! What is found, for people and for programs.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use attach::{Finding, Progress};
use serde_json::{Value, json};

/// Shows on a terminal how far a command is.
#[derive(Debug)]
pub struct Gauge {
    shown: Option<Instant>,
    terminal: bool,
}

impl Gauge {
    pub fn new() -> Self {
        Self { shown: None, terminal: io::stderr().is_terminal() }
    }

    /// Shows it, a few times a second.
    pub fn show(&mut self, progress: &Progress) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= Duration::from_millis(250));
        if self.terminal && due {
            self.shown = Some(Instant::now());
            let percent = (progress.blocks * 100).checked_div(progress.of).unwrap_or(100).min(100);
            let _ = write!(
                io::stderr(),
                "\r{percent:3} %, {} read, {} damaged ",
                bytes(progress.bytes),
                progress.damage
            );
        }
    }

    /// Takes it away again.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r{:60}\r", "");
        }
    }
}

/// `block 3 in segment 1 at 4096 is not authentic (blocks 3 to 3)`, with what it is before it.
pub fn as_line(finding: &Finding) -> String {
    let kind = if finding.flaw.is_damage() { "damage" } else { "leftover" };
    // Names of files are others' text.
    let text: String =
        finding.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    format!("{kind:9}{text}")
}

/// A finding as JSON. Offsets are bytes; blocks are of 8192 bytes.
pub fn as_json(finding: &Finding) -> Value {
    json!({
        "kind": finding.flaw.name(), "damage": finding.flaw.is_damage(),
        "segment": finding.place.map(|place| place.segment), "offset": finding.place.map(|place| place.offset),
        "firstBlock": finding.blocks.start, "blocks": finding.blocks.end - finding.blocks.start,
        "what": finding.what,
    })
}

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..0x10_0000 => format!("{} KiB", count >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", count >> 20),
        _ => format!("{:.1} GiB", count as f64 / (1_u64 << 30) as f64),
    }
}
