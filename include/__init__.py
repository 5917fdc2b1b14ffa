"""What DAGs and jobs share, in the cloud and on a laptop."""
