//! Which operations are served, and how an untyped call reaches a typed operation.

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc};

use serde_json::Value;
use wire::{Audience, Fault, ServiceId, json, query, wipe};
use zeroize::Zeroizing;

use crate::{call::Call, operation::Operation, pipeline::Pipeline};

/// The operations of all services.
#[derive(Default)]
pub struct Router(HashMap<(ServiceId, &'static str), Box<dyn Handler>>);

impl Router {
    /// Serves an operation with its service's state.
    ///
    /// # Panics
    /// If the operation is registered twice, or is not in the service's model: a mistake in the wiring.
    pub fn add<O: Operation>(&mut self, state: Arc<O::State>) {
        assert!(O::SERVICE.model().operations.contains_key(O::NAME), "{} is not in the model", O::NAME);
        let before = self.0.insert((O::SERVICE, O::NAME), Box::new(Served::<O> { state }));
        assert!(before.is_none(), "{} is registered twice", O::NAME);
    }

    pub(crate) fn find(&self, service: ServiceId, name: &str) -> Option<&dyn Handler> {
        // The model's own copy of the name lives as long as the program, as the keys of the map do.
        let (known, _) = service.model().operations.get_key_value(name)?;
        self.0.get(&(service, known.as_str())).map(AsRef::as_ref)
    }

    /// Runs an operation by name for a caller inside this process: a service that uses another one. The
    /// answer is the bytes that a client would read.
    ///
    /// # Errors
    /// What a client would read, or an internal fault if the operation is not served.
    pub async fn call(
        &self,
        pipeline: &Pipeline,
        service: ServiceId,
        name: &str,
        call: &Call,
        input: Value,
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let handler =
            self.find(service, name).ok_or_else(|| Fault::internal(format!("{name} is not served")))?;
        handler.run(pipeline, call, input).await
    }

    /// Every operation served, in order.
    pub fn served(&self) -> Vec<(ServiceId, &'static str)> {
        let mut all: Vec<_> = self.0.keys().copied().collect();
        all.sort_unstable();
        all
    }
}

/// The written answer. Wiped when dropped.
pub(crate) type Answer = Zeroizing<Vec<u8>>;

type Running<'a> = Pin<Box<dyn Future<Output = Result<Answer, Fault>> + Send + 'a>>;

pub(crate) trait Handler: Send + Sync {
    fn run<'a>(&'a self, pipeline: &'a Pipeline, call: &'a Call, input: Value) -> Running<'a>;
}

struct Served<O: Operation> {
    state: Arc<O::State>,
}

impl<O: Operation> Handler for Served<O> {
    fn run<'a>(&'a self, pipeline: &'a Pipeline, call: &'a Call, input: Value) -> Running<'a> {
        Box::pin(async move {
            let response = pipeline.run::<O>(&self.state, call, input).await?;
            match O::SERVICE.audience() {
                Audience::Json => json::encode(&response),
                Audience::Query => {
                    let mut value = serde_json::to_value(&response).map_err(Fault::internal)?;
                    let written = query::encode(O::SERVICE, O::NAME, &value, &call.request_id);
                    wipe(&mut value);
                    written
                }
            }
        })
    }
}
