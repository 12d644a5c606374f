//! `strongroom volume renew-key`: a volume gets another key while its database runs (docs/decisions/0530). The server does it,
//! and records it in the trail.
#![allow(clippy::print_stdout, reason = "what came of it is the command's output")]

use std::{thread, time::Duration};

use clap::Args;

use super::{
    named,
    sealed::{Named, Sealed},
};
use crate::{
    cli::{Failure, HomeOption, read_config, runtime},
    home::Home,
};

/// How often it is looked how far a renewal is.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Characters.
const LONGEST_REASON: usize = 1000;

/// Give the volume of a cluster another key. What is written from now on is sealed under it, and the rest in the background;
/// then the older key is destroyed.
#[derive(Args, Debug)]
pub struct RenewKey {
    /// The cluster: its identifier, ARN or resource id, or the id of its volume.
    cluster: String,
    #[command(flatten)]
    home: HomeOption,
    /// Why, for the trail.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait until nothing is sealed under the older key any more.
    #[arg(long)]
    wait: bool,
}

impl RenewKey {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        read_config(&home)?;
        if self.reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
            return Err(Failure::usage(format!("a reason has at most {LONGEST_REASON} characters")));
        }
        let runtime = runtime()?;
        let cluster = runtime.block_on(named::one(&home.state(), &self.cluster))?;
        let sealed = Named::by_name(cluster.record.arn()).find(&self.home).map_err(Failure::could_not)?;
        sealed.renew_key(self.reason.as_deref()).map_err(Failure::could_not)?;
        let Sealed { id, .. } = &sealed;
        if !sealed.has_server() {
            println!("the key of {id} will be renewed when its database runs again");
            return Ok(());
        }
        if !self.wait {
            println!("the key of {id} is being renewed: see strongroom volume status");
            return Ok(());
        }
        while runtime.block_on(named::one(&home.state(), id))?.record.is_renewing() {
            thread::sleep(LOOK_EVERY);
        }
        println!("the key of {id} is renewed");
        Ok(())
    }
}

/// How far the renewal of a cluster's key is, 0 to 100, as far as its instances tell; `None` if none is under way.
///
/// # Errors
/// If an instance cannot be looked at.
pub fn percent(home: &Home, cluster: &named::Named) -> Result<Option<u8>, Failure> {
    if !cluster.record.is_renewing() {
        return Ok(None);
    }
    for instance in &cluster.instances {
        let Some(sighting) = super::status::sight(home, &instance.id)? else { continue };
        if cluster.record.is_renewed(&sighting.open.wrapped_keys) {
            return Ok(Some(100));
        }
        if let Some(percent) = sighting.open.counters.renewed_percent() {
            return Ok(Some(percent));
        }
    }
    Ok(Some(0))
}
