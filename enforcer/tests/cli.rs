//! The command line as users see it: the examples of the documentation, and what it says when something is wrong.
//!
//! After a change on purpose: `TRYCMD=overwrite cargo test --test cli`, and read the difference.

#[test]
fn the_examples_run_as_they_stand() {
    // Commands of the examples start at the root of the repository.
    std::env::set_current_dir("..").expect("the package lies in the repository");
    trycmd::TestCases::new()
        .case("docs/tools.md")
        .case("enforcer/tests/cmd/*.trycmd");
}
