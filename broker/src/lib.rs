//! Milena: a drop-in replacement for an Apache Kafka broker.

pub mod config;
