//! Framework, package manager and Node version detection from a project folder
