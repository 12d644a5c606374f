//! `iam:SimulateCustomPolicy`: what policies would say that nobody has.

use front::{Ask, Authorized, Call, Effect, Operation};
use serde::Serialize;
use serde_json::Value;
use wire::{Fault, ServiceId};

use crate::{
    registry::Iam,
    simulation::{Scenario, Subject},
};

pub struct SimulateCustomPolicy;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Response {
    pub evaluation_results: Vec<Value>,
    pub is_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
}

impl Operation for SimulateCustomPolicy {
    const SERVICE: ServiceId = ServiceId::Iam;
    const NAME: &'static str = "SimulateCustomPolicy";
    const EFFECT: Effect = Effect::Read;
    const RECORDED: &'static [&'static str] = &["ActionNames", "ResourceArns", "MaxItems"];

    type State = Iam;
    type Request = Scenario;
    type Target = ();
    type Response = Response;

    async fn resolve(_: &Iam, _: &Call, _: &Scenario) -> Result<(), Fault> {
        Ok(())
    }

    fn asks(_: &Iam, _: &Call, _: &Scenario, (): &()) -> Vec<Ask> {
        vec![Ask::new("iam:SimulateCustomPolicy", "*")]
    }

    async fn act(iam: &Iam, call: &Call, scenario: Scenario, _: Authorized<()>) -> Result<Response, Fault> {
        let page = scenario.play(iam, call.account(), Subject::anybody(call.account()))?;
        Ok(Response { evaluation_results: page.items, is_truncated: page.truncated, marker: page.marker })
    }
}
