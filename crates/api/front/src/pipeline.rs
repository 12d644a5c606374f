//! The one order in which every call is handled: validate → resolve → authorize → act → record → answer
//! (`design.md` §4). Parsing and authentication come before, in `http.rs`, or not at all for calls that a
//! service makes inside this process.

use std::{sync::Arc, time::Instant};

use audit::Trail;
use ids::Clock;
use serde_json::Value;
use trail::Record;
use wire::{Fault, ServiceId, validate, wipe};

use crate::{
    authorize,
    call::Call,
    directory::Directory,
    metrics::Metrics,
    operation::{Authorized, Effect, Operation},
    record::{self, Draft},
};

/// What every call needs, whatever its service.
pub struct Pipeline {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
}

impl Pipeline {
    /// A pipeline over the sources of identity, audit and time.
    pub fn new(directory: Arc<dyn Directory>, trail: Arc<Trail>, clock: Arc<dyn Clock>) -> Self {
        Self { directory, trail, clock, metrics: Metrics::default() }
    }

    /// The numbers that Prometheus reads.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Runs one operation with its input as the model has it. The record of the call is durable when this
    /// returns, whatever the outcome.
    ///
    /// # Errors
    /// What the caller reads; an internal fault if the record could not be kept, as nothing may happen
    /// without one.
    pub async fn run<O: Operation>(
        &self,
        state: &O::State,
        call: &Call,
        input: Value,
    ) -> Result<O::Response, Fault> {
        let started = Instant::now();
        let mut draft = Draft::new::<O>(call, &input);
        let outcome = self.attempt::<O>(state, call, input, &mut draft).await;
        let outcome = outcome.map_err(|fault| fault.spelled_by(O::SERVICE));
        let recorded = draft.finish::<O>(call, &outcome, self.clock.now());
        let outcome = match self.keep(recorded, draft.opened()).await {
            Ok(()) => outcome,
            Err(error) => {
                let fault = Fault::internal(format!("the record of {} was not kept: {error}", O::NAME));
                Err(fault.spelled_by(O::SERVICE))
            }
        };
        if let Err(fault) = &outcome {
            report(O::NAME, call, fault);
        }
        self.metrics.observe(O::SERVICE, O::NAME, outcome.as_ref().err(), started.elapsed());
        outcome
    }

    /// Writes the record of a call, and before it a copy for every other account whose resources it
    /// concerned: an open record that a crash leaves behind is found again, a copy is not.
    async fn keep(&self, mut record: Record, opened: bool) -> Result<(), audit::Error> {
        for copy in record::owner_copies(&mut record) {
            self.trail.append(copy).await?;
        }
        if opened {
            let event_id = record.event_id.clone();
            self.trail.close_record(&event_id, record).await
        } else {
            self.trail.append(record).await
        }
    }

    async fn attempt<O: Operation>(
        &self,
        state: &O::State,
        call: &Call,
        mut input: Value,
        draft: &mut Draft,
    ) -> Result<O::Response, Fault> {
        if let Err(fault) = validate(O::SERVICE, O::NAME, &input) {
            wipe(&mut input);
            return Err(fault);
        }
        let request: O::Request = serde_json::from_value(input).map_err(|error| {
            // The model has let the input through: what is left is a value that only the type refuses.
            Fault::client(record::malformed_code(O::SERVICE), format!("The request is malformed: {error}"))
        })?;
        let target = O::resolve(state, call, &request).await?;
        for ask in O::asks(state, call, &request, &target) {
            authorize::authorize(&*self.directory, call, O::SERVICE, ask)?;
        }
        if O::EFFECT == Effect::Write {
            let intent = draft.intent(call, self.clock.now());
            self.trail.open_record(intent).await.map_err(|error| {
                Fault::internal(format!(
                    "{} did not run, as its record could not be opened: {error}",
                    O::NAME
                ))
            })?;
            draft.mark_opened();
        }
        O::act(state, call, request, Authorized::new(target)).await
    }

    /// Records a call that reached no operation.
    ///
    /// # Errors
    /// The fault itself, or an internal one if the record could not be kept.
    pub(crate) async fn refuse(&self, service: ServiceId, name: &str, call: &Call, fault: Fault) -> Fault {
        let recorded = record::refusal(service, name, call, &fault, self.clock.now());
        match self.trail.append(recorded).await {
            Ok(()) => fault,
            Err(error) => {
                Fault::internal(format!("the record of {name} was not kept: {error}")).spelled_by(service)
            }
        }
    }
}

fn report(name: &str, call: &Call, fault: &Fault) {
    if fault.status >= 500 {
        tracing::error!(operation = name, request_id = %call.request_id, %fault, "a call failed");
    } else {
        tracing::debug!(operation = name, request_id = %call.request_id, code = %fault.code, "a call was refused");
    }
}
