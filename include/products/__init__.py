"""What the sales products' DAG does beside submitting jobs: plan a run, audit what came out, publish it."""
