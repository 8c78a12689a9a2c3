#!/bin/sh
# Runs its arguments with a fresh AIRFLOW_HOME that is gone afterwards, so that neither ~/airflow nor an
# installation of the person's own is touched.
set -eu

home=$(mktemp -d -t pixxel-airflow.XXXXXX)
trap 'rm -rf "$home"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for name in $(env | sed -n 's/^\(AIRFLOW_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
AIRFLOW_HOME=$home AIRFLOW__CORE__LOAD_EXAMPLES=False "$@"
