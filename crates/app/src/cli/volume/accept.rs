//! `strongroom volume accept`: a volume that is refused as an older copy is taken as it is. The server does it, and records
//! it in the trail (docs/decisions/0510): the command leaves it the wish.
#![allow(clippy::print_stdout, reason = "what came of it is the command's output")]

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use clusters::Process;
use nix::unistd::{Uid, User};
use store::{Store, sqlx};

use super::named;
use crate::{
    cli::{Failure, HomeOption, read_config, runtime},
    home::Home,
    system::SystemClock,
};

/// How long a running server may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Characters.
const LONGEST_REASON: usize = 1000;

/// Take a volume that is refused as an older copy as it is. What was written after the copy was made is lost.
#[derive(Args, Debug)]
pub struct Accept {
    /// The cluster: its identifier, ARN or resource id, or the id of its volume.
    cluster: String,
    #[command(flatten)]
    home: HomeOption,
    /// Why, for the trail.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Accept {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        read_config(&home)?;
        if self.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            return Err(Failure::usage(format!("a reason has at most {LONGEST_REASON} characters")));
        }
        let runtime = runtime()?;
        let cluster = runtime.block_on(named::one(&home.state(), &self.cluster))?;
        let volume = cluster.record.volume.clone().unwrap_or_default();
        if cluster.anchor.is_none() {
            return Err(Failure::usage(format!("{volume} has no anchor: it is taken as it is already")));
        }
        for instance in &cluster.instances {
            let process = super::status::sight(&home, &instance.id)?.map(|sighting| sighting.process);
            if matches!(process, Some(Process::Opening | Process::Serving | Process::Stopping)) {
                return Err(Failure::usage(format!("{volume} is open: there is nothing to accept")));
            }
        }
        runtime.block_on(wish(&home, &volume, self.reason.as_deref()))?;
        let begun = Instant::now();
        while runtime.block_on(named::one(&home.state(), &volume))?.anchor.is_some() {
            if home.lock().is_ok() {
                println!("{volume} will be accepted when the server starts");
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::usage("the server does not take it up: see its log"));
            }
            thread::sleep(Duration::from_millis(100));
        }
        println!("{volume} is accepted as it is");
        Ok(())
    }
}

/// Leaves the wish for the server.
async fn wish(home: &Home, volume: &str, reason: Option<&str>) -> Result<(), Failure> {
    let user = Uid::current();
    let operator = User::from_uid(user)?.map_or_else(|| user.to_string(), |user| user.name);
    let store = Store::open(&home.state()).await?;
    let mut change = store.internal_change().await?;
    sqlx::query(
        "INSERT INTO volume_acceptances (volume, reason, operator, at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (volume) DO UPDATE SET reason = excluded.reason, operator = excluded.operator, at = excluded.at",
    )
    .bind(volume)
    .bind(reason)
    .bind(operator)
    .bind(ids::Clock::now(&SystemClock).as_millis())
    .execute(change.tx())
    .await?;
    change.commit().await?;
    store.close().await;
    Ok(())
}
