//! Prints the CustomResourceDefinition as YAML, from the types. `crdgen` is `crds/workercluster.yaml`; `crdgen --chart` is the chart's copy.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut definition = crds::crd::definition()?;
    let notice = "# Generated from crds/src by `make generate`; do not edit.";
    match std::env::args().nth(1).as_deref() {
        None => print!("{notice}\n{}", serde_yaml_ng::to_string(&definition)?),
        Some("--chart") => {
            // Helm's word for what it must not delete, chosen by the values.
            definition["metadata"]["annotations"] = serde_json::json!({"helm.sh/resource-policy": "KEEP"});
            let yaml = serde_yaml_ng::to_string(&definition)?.replace(
                "  annotations:\n    helm.sh/resource-policy: KEEP\n",
                "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n",
            );
            print!("{{{{- if .Values.crds.install }}}}\n{notice}\n{yaml}{{{{- end }}}}\n");
        }
        Some(other) => return Err(format!("unknown argument {other}: use --chart, or nothing").into()),
    }
    Ok(())
}
