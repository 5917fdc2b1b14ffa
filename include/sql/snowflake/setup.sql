-- Once per Snowflake account, by an administrator. The variables are the deployment's:
--
--   snow sql --filename setup.sql --enable-templating JINJA \
--     -D bucket=vitrine-lake -D role_arn=arn:aws:iam::<account>:role/vitrine-snowflake -D public_key="$(cat key.pub)"
--
-- public_key is the body of the RSA public key, without its first and last line. Airflow gets the private key: extra
-- fields private_key_file or private_key_content of the connection snowflake_default.

CREATE DATABASE IF NOT EXISTS RETAIL;
CREATE SCHEMA IF NOT EXISTS RETAIL.PUBLIC;

-- Snowflake reaches the bucket by assuming a role of ours: no access key is stored anywhere.
CREATE STORAGE INTEGRATION IF NOT EXISTS VITRINE_LAKE
    TYPE = EXTERNAL_STAGE
    STORAGE_PROVIDER = 'S3'
    ENABLED = TRUE
    STORAGE_AWS_ROLE_ARN = '{{ role_arn }}'
    STORAGE_ALLOWED_LOCATIONS = ('s3://{{ bucket }}/raw/')
    COMMENT = 'Extracts for the Vitrine pipelines';

-- STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID go into the trust policy of that role. The role itself needs
-- s3:PutObject, s3:GetObject, s3:GetObjectVersion and s3:DeleteObject under raw/, and s3:ListBucket on the bucket.
DESC INTEGRATION VITRINE_LAKE;

CREATE STAGE IF NOT EXISTS RETAIL.PUBLIC.VITRINE_LAKE
    URL = 's3://{{ bucket }}/raw/'
    STORAGE_INTEGRATION = VITRINE_LAKE
    COMMENT = 'Landing zone of the extracts';

-- What goes back into Snowflake comes from published versions and has a schema of its own. The role of this integration
-- needs no more than s3:GetObject and s3:GetObjectVersion under the two folders, and s3:ListBucket on the bucket.
CREATE SCHEMA IF NOT EXISTS RETAIL.VITRINE;

CREATE STORAGE INTEGRATION IF NOT EXISTS VITRINE_PUBLISHED
    TYPE = EXTERNAL_STAGE
    STORAGE_PROVIDER = 'S3'
    ENABLED = TRUE
    STORAGE_AWS_ROLE_ARN = '{{ role_arn }}'
    STORAGE_ALLOWED_LOCATIONS = ('s3://{{ bucket }}/gold/', 's3://{{ bucket }}/products/')
    COMMENT = 'Published tables of the lake, to be read only';
DESC INTEGRATION VITRINE_PUBLISHED;

CREATE STAGE IF NOT EXISTS RETAIL.VITRINE.GOLD
    URL = 's3://{{ bucket }}/gold/'
    STORAGE_INTEGRATION = VITRINE_PUBLISHED
    COMMENT = 'Gold tables of the sales lakehouse';

CREATE STAGE IF NOT EXISTS RETAIL.VITRINE.PRODUCTS
    URL = 's3://{{ bucket }}/products/'
    STORAGE_INTEGRATION = VITRINE_PUBLISHED
    COMMENT = 'What the sales products found';

-- From here on: who may do what.
CREATE WAREHOUSE IF NOT EXISTS VITRINE
    WAREHOUSE_SIZE = XSMALL
    AUTO_SUSPEND = 60
    AUTO_RESUME = TRUE
    INITIALLY_SUSPENDED = TRUE
    STATEMENT_TIMEOUT_IN_SECONDS = 3600;

CREATE ROLE IF NOT EXISTS VITRINE_READER COMMENT = 'Reads sales views and unloads them; writes no table';
GRANT USAGE ON WAREHOUSE VITRINE TO ROLE VITRINE_READER;
GRANT USAGE ON DATABASE RETAIL TO ROLE VITRINE_READER;
GRANT USAGE ON ALL SCHEMAS IN DATABASE RETAIL TO ROLE VITRINE_READER;
GRANT USAGE ON FUTURE SCHEMAS IN DATABASE RETAIL TO ROLE VITRINE_READER;
GRANT SELECT ON ALL VIEWS IN DATABASE RETAIL TO ROLE VITRINE_READER;
GRANT SELECT ON FUTURE VIEWS IN DATABASE RETAIL TO ROLE VITRINE_READER;
GRANT USAGE ON INTEGRATION VITRINE_LAKE TO ROLE VITRINE_READER;
GRANT USAGE ON STAGE RETAIL.PUBLIC.VITRINE_LAKE TO ROLE VITRINE_READER;

CREATE ROLE IF NOT EXISTS VITRINE_WRITER COMMENT = 'Writes what the pipelines found, in one schema; reads no sales';
GRANT USAGE ON WAREHOUSE VITRINE TO ROLE VITRINE_WRITER;
GRANT USAGE ON DATABASE RETAIL TO ROLE VITRINE_WRITER;
GRANT USAGE, CREATE TABLE ON SCHEMA RETAIL.VITRINE TO ROLE VITRINE_WRITER;
GRANT USAGE ON INTEGRATION VITRINE_PUBLISHED TO ROLE VITRINE_WRITER;
GRANT USAGE ON STAGE RETAIL.VITRINE.GOLD TO ROLE VITRINE_WRITER;
GRANT USAGE ON STAGE RETAIL.VITRINE.PRODUCTS TO ROLE VITRINE_WRITER;

-- A key pair and no password. A service user cannot log in to the web interface.
CREATE USER IF NOT EXISTS VITRINE
    TYPE = SERVICE
    RSA_PUBLIC_KEY = '{{ public_key }}'
    DEFAULT_ROLE = VITRINE_READER
    DEFAULT_WAREHOUSE = VITRINE
    DEFAULT_NAMESPACE = RETAIL.PUBLIC;
GRANT ROLE VITRINE_READER TO USER VITRINE;
GRANT ROLE VITRINE_WRITER TO USER VITRINE;
