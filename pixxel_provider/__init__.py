"""Apache Airflow provider for jobs of Pixxel's geospatial workflows."""

__version__ = "0.1.0"
