//! A message set is what Kafka's own builder makes of the same records, and any bytes can be walked over.

use super::*;
