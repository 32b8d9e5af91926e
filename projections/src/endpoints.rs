//! What can be asked of the folds of the agent domain, where another process holds the log.

use runstone_store::holder::Endpoint;

/// Everything that can be asked of the agent domain.
pub fn endpoints() -> Vec<Endpoint> {
    Vec::new()
}
