//! What of a shell command both who writes it and who runs it must know.

/// What a shell does itself: special and usual built-ins that are no programs (POSIX.1-2024, Shell Command Language,
/// sections 2.15 and 2.4 on reserved words).
const BUILT_IN: [&str; 32] = [
    "!", ".", ":", "[", "alias", "break", "case", "cd", "command", "continue", "eval", "exec", "exit", "export", "for",
    "if", "local", "read", "readonly", "return", "set", "shift", "source", "test", "times", "trap", "ulimit", "umask",
    "unset", "until", "wait", "while",
];

/// Whether a program of this name can take the shell's place by `exec`.
#[must_use]
pub fn is_program(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./@+".contains(c);
    !word.is_empty() && word.chars().all(plain) && !BUILT_IN.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_does_itself_is_no_program() {
        for yes in ["node", "./bin/www", "npm", "next"] {
            assert!(is_program(yes), "{yes}");
        }
        for no in ["exit", "cd", "A=1", "$(x)", "", "'a"] {
            assert!(!is_program(no), "{no}");
        }
    }
}
