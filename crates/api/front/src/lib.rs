//! The front of all services: one endpoint, one pipeline, one order of checks (`design.md` §4).
//!
//! parse → authenticate → validate → resolve → authorize → act → record → answer. An operation is a type
//! that implements [`Operation`]; a handler cannot run without the proof that it may ([`Authorized`]), and
//! no answer leaves before its trail record is durable.

mod authenticate;
mod authorize;
mod call;
mod caller;
mod directory;
mod http;
mod metrics;
mod operation;
mod pipeline;
mod record;
mod router;
mod seats;
mod server;
mod tls;
mod unbroken;

pub use authorize::would_allow;
pub use call::{Call, Origin, TouchedResource, Via};
pub use caller::{Caller, Federated, Lender, Service, Session, User};
pub use directory::{Credential, Directory};
pub use http::{AUTHORIZATION_MESSAGE, Endpoint};
pub use metrics::Metrics;
pub use operation::{Ask, Authorized, Effect, Operation};
pub use pipeline::Pipeline;
pub use record::{elsewhere, lowered, owner_copies};
pub use router::Router;
pub use server::{Server, ServerError};
pub use tls::{TlsError, server_config};
