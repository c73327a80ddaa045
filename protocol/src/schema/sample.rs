//! Sampled requests and hostile variants of them, for tests.
