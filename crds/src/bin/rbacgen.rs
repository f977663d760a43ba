//! Prints the chart's `templates/_rules.tpl` from the table of rights.

fn main() {
    print!("{}", crds::rbac::chart_templates());
}
