//! `altsd.v1.Caller`: what the handshaker makes of the program that asks. A program may know what it is; what it
//! would have to be, to be another, is for the operator.
