//! The scrub of an open volume, as the process that has it open tells it.

use std::{
    io,
    ops::ControlFlow,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use attach::{Finding, Observed, Progress};

use super::life::Life;
use crate::protocol::{Found, Reply, ScrubNews, Step, write_message};

/// How often progress is told. It also shows whether anybody still listens.
const INTERVAL: Duration = Duration::from_millis(250);

/// Scrubs, telling what is found and how far it is; ends when nobody listens any more.
pub fn scrub(connection: &mut UnixStream, life: &Life) -> io::Result<()> {
    let mut told = Instant::now();
    let mut hung_up = None;
    let scrubbed = life.scrub(&mut |observed| {
        let news = match observed {
            Observed::Found(finding) => ScrubNews::Found(found(finding)),
            Observed::Step(progress) => {
                if told.elapsed() < INTERVAL {
                    return ControlFlow::Continue(());
                }
                told = Instant::now();
                ScrubNews::Step(step(progress))
            }
        };
        match write_message(connection, &Reply::Scrub(news)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                hung_up = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    if let Some(error) = hung_up {
        return Err(error);
    }
    let reply = match scrubbed {
        Ok(progress) => {
            write_message(connection, &Reply::Scrub(ScrubNews::Step(step(&progress))))?;
            Reply::done()
        }
        Err(refused) => Reply::refused(refused.to_string()),
    };
    write_message(connection, &reply)
}

fn found(finding: &Finding) -> Found {
    let place = finding.place;
    Found {
        flaw: finding.flaw.name().into(),
        segment: place.map(|place| place.segment),
        offset: place.map(|place| place.offset),
        first_block: finding.blocks.start,
        blocks: finding.blocks.end - finding.blocks.start,
        what: finding.what.clone(),
    }
}

fn step(progress: &Progress) -> Step {
    let Progress { blocks, of, nodes, bytes, damage, findings } = *progress;
    Step { blocks, of, nodes, bytes, damage, findings }
}
