"""The dashboard: Kafka to bounded memory to the browser, pushed."""
