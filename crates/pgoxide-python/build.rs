//! Lets the crate's own `cfg`s follow the interpreter it is built for.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
