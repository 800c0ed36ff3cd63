//! Accepted connections as tonic takes them, and who made them.
