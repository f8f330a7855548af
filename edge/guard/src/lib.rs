//! Who is served and how much: addresses, rules, rates, overload.
