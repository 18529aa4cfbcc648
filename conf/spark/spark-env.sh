# A laptop's host name often resolves to nothing, or to yesterday's network; all of this is local.
export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"
