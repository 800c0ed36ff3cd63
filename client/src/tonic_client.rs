//! The connector as tonic and hyper take it.
