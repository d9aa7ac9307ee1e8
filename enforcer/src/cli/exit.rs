//! How a command ends when it does not succeed.

use crate::control::CallError;
use crate::controller::Failure;
use crate::diagnostics::Diagnostics;
use crate::kernel::Error;
use crate::words::counted;

/// Wrong input, or a finding.
const INPUT: u8 = 1;
/// Wrong usage, or the environment.
const ENVIRONMENT: u8 = 2;
/// There are differences, where the exit code was asked to tell.
const DIFFERENCES: u8 = 2;

/// The exit code, and what goes to standard error.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Exit {
    /// Wrong input, or a finding.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::new(INPUT, message)
    }

    /// Wrong usage, or the environment.
    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self::new(ENVIRONMENT, message)
    }

    /// Differences, which stand on standard output already.
    pub(super) fn differences() -> Self {
        Self::new(DIFFERENCES, "")
    }

    /// The same with the code of wrong input.
    pub(super) fn into_input(self) -> Self {
        Self { code: INPUT, ..self }
    }

    fn new(code: u8, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// As many findings, which stand on standard output already.
    pub(crate) fn findings(errors: &Diagnostics) -> Self {
        Self::new(errors.exit_code(), counted(errors.list.len(), errors.level()))
    }
}

impl From<Diagnostics> for Exit {
    fn from(errors: Diagnostics) -> Self {
        let text = errors.render(super::terminal::colour());
        Self::new(errors.exit_code(), text.trim_end())
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::environment(error.to_string())
    }
}

impl From<Failure> for Exit {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Policy(errors) => errors.into(),
            Failure::Kernel(error) => error.into(),
            Failure::Store(error) => Self::environment(error.to_string()),
            Failure::Unfit { .. } | Failure::Refused(_) => Self::input(failure.to_string()),
        }
    }
}

impl From<CallError> for Exit {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Refused(_) => Self::input(message),
            _ => Self::environment(message),
        }
    }
}
