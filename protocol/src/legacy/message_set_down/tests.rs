//! What Kafka 3.9 makes of the same batches.

use super::*;
