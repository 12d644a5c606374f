//! The cluster service from outside: calls through the real pipeline, steps of the reconciler, and the world around it from
//! a script.

mod encryption;
mod life;
mod locking;
mod operations;
mod random;
mod renewal;
mod restarts;
mod snapshots;
mod volumes;
mod world;
