//! A new file of the Python package is a reason to build again; the macro that includes them notices only changed ones.

fn main() {
    println!("cargo::rerun-if-changed=python");
}
