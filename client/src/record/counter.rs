//! The counter of the frames of one direction.
