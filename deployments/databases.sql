-- Each server keeps the history of its own tables, so that two of them cannot share a database.
create database prefect;
create database mlflow;
create database accounts;
