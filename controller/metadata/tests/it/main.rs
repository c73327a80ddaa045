//! The metadata crate as the controller and the handlers see it.

#[cfg(test)]
mod configs;
#[cfg(test)]
mod directories;
#[cfg(test)]
mod features;
#[cfg(test)]
mod image;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod records;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod support;
#[cfg(test)]
mod topics;
