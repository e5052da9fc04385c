//! What the crate makes, against snapshots, and against the programs that read it where they are at hand.

#[cfg(feature = "driver")]
mod auth;
#[cfg(feature = "driver")]
mod bed;
#[cfg(feature = "driver")]
mod bundle;
mod hosts;
mod images;
#[cfg(feature = "driver")]
mod load;
#[cfg(feature = "driver")]
mod mirror;
#[cfg(feature = "driver")]
mod push;
mod rendered;
mod sample;
#[cfg(feature = "driver")]
mod survey;
