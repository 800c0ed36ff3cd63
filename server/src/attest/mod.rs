//! Who is calling, by the kernel's word.
//!
//! [`Caller`] is made when a connection is accepted, and asked by each request who it is; the answer is what is true
//! of every process that has the other end. [`Workloads`] tells what that makes it.
//!
//! Facts of a process are believed only after it was seen to live, and be the same, behind them: numbers of processes
//! are used again, and a process may run another program. Within one uid, the executable is no boundary: whoever has
//! the uid may run the program, and make it do what he likes.

mod attestor;
mod caller;
mod cgroup;
mod error;
mod executable;
mod holders;
mod kubernetes;
mod process;
mod search;
mod selector;
mod sock_diag;
mod unmapped;
mod workload;

pub(crate) use attestor::{Attestor, AttestorProblem};
pub(crate) use caller::{Attested, Caller, SeenProcesses, Transport};
pub(crate) use error::AttestError;
pub(crate) use kubernetes::{KubernetesSettings, PodSource};
pub(crate) use selector::{Selector, SelectorProblem};
pub(crate) use workload::{Workload, WorkloadProblem, Workloads};

#[cfg(test)]
mod tests;
