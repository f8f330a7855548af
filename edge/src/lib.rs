//! The data plane: listeners, route table, static sites and proxying
